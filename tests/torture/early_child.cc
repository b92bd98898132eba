// A program that is linked with early_library.cc, and knows nothing of minicore.

extern "C" int LetThreadOverflow();

int main() { return LetThreadOverflow(); }
