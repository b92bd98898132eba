# Allocation-heavy Perl: hashes, lists, split and join, regular expressions.
# Argument: size.
use strict;
use warnings;

my $size = shift;
my $total = 0;
for my $turn (1 .. 4) {
    my %records;
    for my $i (1 .. $size) {
        $records{"record $i"} = { number => $i, tags => [$i % 3, $i % 7, $i % 31] };
    }
    my $text = join ',', map { "$_=" . $records{$_}{number} * $turn } sort keys %records;
    my %counts;
    $counts{length $1}++ while $text =~ /(\d+)/g;
    $total += scalar(split /,/, $text) + keys %counts;
}
print "$total\n";
