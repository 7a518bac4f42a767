# SPDX-License-Identifier: MIT
# about: master and workers under wrk: files, gzip, subrequests, reload; the pages must be equal
# programs: nginx wrk curl
# packages: nginx wrk curl
# set: long
# probe: nginx -v

prepare() {
    mkdir "$INPUT/pages"
    local i
    for i in $(seq 60); do seq "$i" $((i * 300)) >"$INPUT/pages/page$i.txt"; done
}

# A port that nobody listens on: what the kernel hands out for port 0 would need a helper.
free_port() {
    local port
    for port in $(seq 18080 18999); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port"
}

write_conf() { # PORT
    cat >"$TMPDIR/nginx.conf" <<CONF
daemon off; master_process on; worker_processes 2; pid $TMPDIR/pid; error_log $TMPDIR/error warn;
$([ "$(id -u)" -ne 0 ] || echo "user root;")
events { worker_connections 256; }
http {
    types { text/plain txt; } access_log off; gzip on; gzip_types text/plain; gzip_min_length 10; etag off;
    client_body_temp_path $TMPDIR/a; proxy_temp_path $TMPDIR/b; fastcgi_temp_path $TMPDIR/c;
    uwsgi_temp_path $TMPDIR/d; scgi_temp_path $TMPDIR/e;
    server { listen 127.0.0.1:$1; root $INPUT/pages;
        location /again/ { proxy_pass http://127.0.0.1:$1/; proxy_buffering on; }
        location /old { rewrite ^/old(.*)\$ /page\$1.txt last; } }
}
CONF
}

run() {
    local i port
    port=$(free_port)
    write_conf "$port"
    nginx -c "$TMPDIR/nginx.conf" -p "$TMPDIR" 2>/dev/null &
    local server=$!
    wait_for $server curl -s "http://127.0.0.1:$port/page1.txt"
    expect_active $server
    for i in $(seq 60); do curl -s --compressed "http://127.0.0.1:$port/again/page$i.txt"; done | digest
    wrk -t 2 -c 20 -d 1s "http://127.0.0.1:$port/page9.txt" >"$TMPDIR/wrk"
    wrk -t 2 -c 20 -d 1s -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/again/old7" >>"$TMPDIR/wrk"
    if grep -E 'Non-2xx|Socket errors' "$TMPDIR/wrk"; then die "requests failed under load"; fi
    kill -HUP $server
    for i in $(seq 60); do curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$port/old$i"; done | sort | uniq -c
    curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$port/none"
    stop $server
}
