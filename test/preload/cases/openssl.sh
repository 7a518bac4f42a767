# SPDX-License-Identifier: MIT
# about: digests, ciphers, fixed keys, certificates, signatures, DER and PKCS#12
# programs: openssl
# packages: openssl
# set: quick
# probe: openssl version

prepare() {
    seq 1 300000 >"$INPUT/text"
    echo nothing >"$INPUT/no_certificate"
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$INPUT/rsa.pem"
    openssl genpkey -algorithm ED25519 -out "$INPUT/ed.pem"
    openssl req -x509 -key "$INPUT/ed.pem" -subj /CN=test -days 3 -out "$INPUT/cert.pem"
}

run() {
    local name
    for name in md5 sha1 sha256 sha512 sha3-256 blake2b512; do
        openssl dgst -"$name" <"$INPUT/text"
    done
    for name in aes-256-cbc aes-128-ctr chacha20 camellia-256-cbc; do
        openssl enc -"$name" -K "$(printf '%064d' 7)" -iv "$(printf '%032d' 9)" -in "$INPUT/text" \
            2>/dev/null | digest
    done
    openssl dgst -sha256 -sign "$INPUT/rsa.pem" -out rsa.sig "$INPUT/text"
    openssl pkeyutl -sign -inkey "$INPUT/ed.pem" -rawin -in "$INPUT/cert.pem" -out ed.sig
    openssl x509 -in "$INPUT/cert.pem" -text -noout
    openssl rsa -in "$INPUT/rsa.pem" -text -noout 2>/dev/null | digest
    openssl pkcs12 -export -inkey "$INPUT/ed.pem" -in "$INPUT/cert.pem" -passout pass:x |
        openssl pkcs12 -passin pass:x -nodes -info 2>/dev/null | grep -c BEGIN
    # Fresh random keys: that they work is all that can be compared.
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TMPDIR/ec.pem"
    openssl dgst -sha256 -sign "$TMPDIR/ec.pem" -out "$TMPDIR/ec.sig" "$INPUT/text"
    openssl pkey -in "$TMPDIR/ec.pem" -pubout -out "$TMPDIR/ec.pub"
    openssl dgst -sha256 -verify "$TMPDIR/ec.pub" -signature "$TMPDIR/ec.sig" "$INPUT/text"
    openssl ciphers -v 'ALL:COMPLEMENTOFALL' | digest
    if openssl x509 -in "$INPUT/no_certificate" -noout 2>/dev/null; then die "parsed what is no certificate"; fi
}
