int Learn();
int Learn() { return *new int(7); }

int Planted() {
  static const int learned = Learn();
  return learned;
}
