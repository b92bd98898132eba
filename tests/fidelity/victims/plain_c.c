/* A C program: intrusive lists, unions, bit fields, flexible arrays, function pointers,
 * an arena of its own in mapped memory and one at the break. */

#define _GNU_SOURCE
#include <setjmp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fidelity/victims/crash.h"

struct list {
  struct list *next, *prev;
};

struct item {
  int number;
  char *text;
  struct list link; /* pointers to the middle */
  union {
    double real;
    void *pointer;
    unsigned char bytes[8];
  } u;
  unsigned low : 3, high : 7;
};

struct table {
  size_t count;
  struct item *items[];
};

typedef int (*operation)(int, int);
struct operations {
  const char *name;
  operation function;
};

static int add(int a, int b) { return a + b; }
static int sub(int a, int b) { return a - b; }

static const struct operations k_operations[] = {{"add", add}, {"sub", sub}};
static struct list g_head = {&g_head, &g_head};
static struct table *g_table;
static char g_buffer[100000]; /* one page of it is touched */
static int g_matrix[20][30];
static jmp_buf g_jump;
static char *g_arena, *g_arena_next;
static struct item *g_at_break;

static void *arena_alloc(size_t size) {
  void *result = g_arena_next;
  g_arena_next += (size + 15) / 16 * 16;
  return result;
}

static struct item *new_item(int number, void *(*allocate)(size_t)) {
  struct item *item = allocate(sizeof *item);
  memset(item, 0, sizeof *item);
  item->number = number;
  item->text = allocate(40);
  snprintf(item->text, 40, "the text of item %d", number);
  item->link.next = g_head.next;
  item->link.prev = &g_head;
  g_head.next->prev = &item->link;
  g_head.next = &item->link;
  item->u.real = number / 8.0;
  item->low = (unsigned)number & 7;
  item->high = (unsigned)number & 127;
  return item;
}

__attribute__((noinline)) static int walk(const struct table *table, char **argv, int depth) {
  char on_stack[64];
  struct item copy = *table->items[depth];
  const struct item *pointer = table->items[table->count - 1];
  snprintf(on_stack, sizeof on_stack, "walking at %d of %zu", depth, table->count);
  int result;
  if (depth == 0) {
    Crash();
    result = 0;
  } else {
    result = walk(table, argv, depth - 1) + k_operations[depth % 2].function(depth, 1);
  }
  KeepAlive(on_stack);
  KeepAlive(&copy);
  KeepAlive(pointer);
  return result;
}

int main(int argc, char **argv) {
  (void)argc;
  AllocateBallast(48 << 20);
  g_arena = g_arena_next = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(g_arena, 0x5a, 8 << 20);
  g_table = malloc(sizeof *g_table + 50 * sizeof(struct item *));
  g_table->count = 50;
  for (int i = 0; i < 50; ++i) {
    g_table->items[i] = new_item(i, i % 2 == 0 ? malloc : arena_alloc);
  }
  g_at_break = sbrk(4096);
  g_at_break->number = 77;
  g_at_break->text = g_table->items[1]->text;
  g_buffer[50000] = 'b';
  g_matrix[3][4] = 34;
  if (setjmp(g_jump) != 0) return 1;
  struct item *local_from_arena = g_table->items[31];
  const int result = walk(g_table, argv, 9);
  KeepAlive(local_from_arena);
  return result;
}
