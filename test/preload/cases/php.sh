# SPDX-License-Identifier: MIT
# about: extensions that php opens with RTLD_DEEPBIND; its own allocator, malloc (USE_ZEND_ALLOC=0)
# programs: php
# packages: php-cli php-curl php-mbstring php-sqlite3 php-xml
# set: quick
# check: php -r 'exit(array_diff(["curl", "mbstring", "dom", "pdo_sqlite"], get_loaded_extensions()) ? 1 : 0);'
# probe: php -r 1;

prepare() {
    cat >"$INPUT/work.php" <<'PHP'
<?php
mt_srand(5);
$records = [];
for ($i = 0; $i < 8000; $i++) {
    $records[] = ['id' => $i, 'name' => str_repeat(chr(97 + mt_rand(0, 25)), mt_rand(1, 80)),
                  'list' => range(0, mt_rand(0, 20)), 'é' => mt_rand() / 7];
}
$json = json_encode($records, JSON_UNESCAPED_UNICODE);
echo "json ", strlen($json), " ", hash('sha256', $json), " ", json_decode($json, true) == $records ? "equal" : "differs", "\n";
echo "serialize ", hash('sha256', serialize(unserialize(serialize($records)))), "\n";
echo "pcre ", preg_match_all('/"name":"(\w)\1{3,}/', $json, $found), " ",
     strlen(preg_replace_callback('/\d+/', fn($m) => $m[0] + 1, $json)), "\n";
echo "mbstring ", mb_strlen($json), " ", md5(mb_convert_encoding(mb_strtoupper($json), 'UTF-16LE')), "\n";
echo "iconv ", md5(iconv('UTF-8', 'ISO-8859-1//TRANSLIT', substr($json, 0, 20000))), "\n";

$document = new DOMDocument();
$root = $document->appendChild($document->createElement('root'));
foreach (array_slice($records, 0, 3000) as $r) {
    $node = $root->appendChild($document->createElement('r', $r['name']));
    $node->setAttribute('id', $r['id']);
}
$xml = $document->saveXML();
$path = new DOMXPath($document);
echo "dom ", md5($xml), " ", $path->query('//r[@id mod 7 = 3]')->length, "\n";
$simple = simplexml_load_string($xml);
echo "simplexml ", count($simple->r), " ", strlen($simple->r[77]), "\n";
$reader = new XMLReader(); $reader->XML($xml); $n = 0;
while ($reader->read()) { $n += $reader->nodeType == XMLReader::ELEMENT; }
echo "xmlreader $n\n";
libxml_use_internal_errors(true);
echo "errors ", simplexml_load_string('<a><b></a>') === false ? count(libxml_get_errors()) : 'none', "\n";

$db = new PDO('sqlite::memory:');
$db->exec('create table t(id integer primary key, name text)');
$insert = $db->prepare('insert into t(name) values(?)');
foreach ($records as $r) { $insert->execute([$r['name']]); }
echo "pdo ", implode(',', $db->query('select count(*), max(length(name)), count(distinct name) from t')->fetch(PDO::FETCH_NUM)), "\n";
$lite = new SQLite3(':memory:');
$lite->createFunction('twice', fn($x) => 2 * $x);
echo "sqlite3 ", $lite->querySingle('select twice(21)'), "\n";

$curl = curl_init('file://' . __FILE__);
curl_setopt($curl, CURLOPT_RETURNTRANSFER, true);
echo "curl ", md5(curl_exec($curl)), "\n";
$failing = curl_init('http://127.0.0.1:1/');
curl_setopt($failing, CURLOPT_RETURNTRANSFER, true);
echo "curl error ", curl_exec($failing) === false ? curl_errno($failing) : 'none', "\n";
echo "zlib ", md5(gzuncompress(gzcompress($json, 6))), "\n";
$packed = openssl_encrypt($json, 'aes-256-cbc', str_repeat('k', 32), 0, str_repeat('i', 16));
echo "openssl ", md5($packed), "\n";
$key = openssl_pkey_new(['private_key_bits' => 1024]);
echo "openssl key ", openssl_pkey_get_details($key)['bits'], "\n";
$object = new ArrayObject();
for ($i = 0; $i < 20000; $i++) { $o = new stdClass(); $o->self = $o; $object[$i % 100] = $o; }
echo "cycles ", gc_collect_cycles() > 0 ? 'collected' : 'none', "\n";
echo "dates ", (new DateTimeImmutable('2001-02-03 04:05:06', new DateTimeZone('Europe/Paris')))->modify('+40 days')->format(DATE_ATOM), "\n";
PHP
}

run() {
    php -v | head -1
    php -m | LC_ALL=C sort
    echo "own allocator"
    php "$INPUT/work.php"
    echo "malloc"
    USE_ZEND_ALLOC=0 php "$INPUT/work.php"
    echo "malloc, tracked"
    USE_ZEND_ALLOC=0 USE_TRACKED_ALLOC=1 php "$INPUT/work.php"
    echo "no configuration, no extensions"
    php -n -r 'echo str_repeat("ab", 3), "\n";'
}
