# SPDX-License-Identifier: MIT
# about: hashes, regular expressions, sort, closures, interpreter threads, fork
# programs: perl
# packages: perl
# set: quick
# check: perl -Mthreads -MStorable -e 1
# probe: perl -e 1

prepare() {
    cat >"$INPUT/work.pl" <<'PERL'
use strict; use warnings; use threads; use Storable qw(dclone); use Digest::SHA qw(sha256_hex);
my $seed = 7;
sub number { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed }

my %table;
for my $i (1 .. 30000) {
    my $key = "key" . number() % 20000;
    push @{ $table{$key} }, "v" x (number() % 60);
    delete $table{"key" . number() % 20000} if $i % 3 == 0;
}
my $text = join "\n", map { "$_=" . join ",", @{ $table{$_} } } sort keys %table;
print length($text), " ", sha256_hex($text), "\n";

my %count;
$count{length $1}++ while $text =~ /(v+)(?=,)/g;
(my $short = $text) =~ s/(v)\1{4,}/length $&/ge;
print join(" ", map { "$_:$count{$_}" } sort { $a <=> $b } keys %count), " ", length $short, "\n";

my @makers = map { my $n = $_; sub { my @part = map { $_ * $n } 1 .. 50; return "@part" } } 1 .. 2000;
print sha256_hex(join ";", map { $_->() } @makers), "\n";
my $copy = dclone(\%table);
print scalar(keys %$copy), "\n";

my @threads = map {
    my $n = $_;
    threads->create(sub { my %h; $h{ $_ % 997 } .= "x$n" for 1 .. 20000; return sha256_hex(join ",", map { $h{$_} } sort keys %h) })
} 1 .. 4;
print $_->join, "\n" for @threads;

for my $n (1 .. 20) {
    my $pid = fork // die;
    if (!$pid) { my @a = map { $_ x 3 } keys %table; exit scalar(@a) % 100 }
    waitpid $pid, 0;
    print $? >> 8, " ";
}
print "\n";
PERL
}

run() {
    export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
    perl "$INPUT/work.pl"
    PERL_DESTRUCT_LEVEL=2 perl "$INPUT/work.pl"
}
