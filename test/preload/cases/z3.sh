# SPDX-License-Identifier: MIT
# about: SMT problems: pigeon holes, bit vectors, integers, arrays; the search must take equal steps
# programs: z3
# packages: z3
# set: quick
# probe: z3 --version

pigeons() { # HOLES: one pigeon more than there are holes
    local p h q
    for ((p = 0; p <= $1; p++)); do
        for ((h = 0; h < $1; h++)); do echo "(declare-const p${p}_$h Bool)"; done
        printf '(assert (or'
        for ((h = 0; h < $1; h++)); do printf ' p%d_%d' "$p" "$h"; done
        echo '))'
    done
    for ((h = 0; h < $1; h++)); do
        for ((p = 0; p <= $1; p++)); do
            for ((q = p + 1; q <= $1; q++)); do
                echo "(assert (or (not p${p}_$h) (not p${q}_$h)))"
            done
        done
    done
    echo '(check-sat) (get-info :rlimit)'
}

prepare() {
    pigeons 7 >"$INPUT/pigeons.smt2"
    cat >"$INPUT/bits.smt2" <<'SMT'
(declare-const a (_ BitVec 32)) (declare-const b (_ BitVec 32))
(assert (= (bvmul a b) #x78c55e47)) (assert (bvugt a #x00000001)) (assert (bvugt b #x00000001))
(assert (bvult a #x00010000)) (assert (bvult b #x00010000))
(check-sat) (eval (bvxor a b)) (get-info :rlimit)
SMT
    cat >"$INPUT/mixed.smt2" <<'SMT'
(declare-fun f (Int) Int) (declare-const m (Array Int Int))
(declare-const x Int) (declare-const y Int) (declare-const z Int)
(assert (and (< 0 x) (< x y) (< y z) (= (+ (* x x) (* y y)) (* z z)) (> z 60) (< z 90)))
(assert (= (select (store m x y) z) (f (+ x y)))) (assert (= (f (+ x y)) 17))
(assert (forall ((i Int)) (=> (< i 0) (= (f i) (- i)))))
(check-sat) (eval (f (- 5))) (eval (+ x y z)) (get-info :rlimit)
SMT
}

run() {
    local name
    for name in pigeons bits mixed; do
        echo "$name"
        z3 "$INPUT/$name.smt2"
    done
}
