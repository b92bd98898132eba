// A program that has the symbol by which one is known that is built with a sanitizer.

extern "C" __attribute__((visibility("default"))) void SYMBOL() {}

int main() { SYMBOL(); }
