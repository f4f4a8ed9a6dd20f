/* A list. */
#ifndef LIST_H
#define LIST_H

#include <stdlib.h>

#define LIST_MAX 10
#define LIST_EACH(list, item) \
  for (item = (list)->head; item; item = item->next)

/* An item. */
typedef struct item {
  struct item *next;
  int value;
} item_t;

struct list { item_t *head; };

enum order { UP, DOWN };

static int compare(const void *a, const void *b);

/* Finds a value,
 * or gives NULL. */
item_t *
list_find(struct list *list, int value)
{
  item_t *item;
  LIST_EACH(list, item) {
    if (item->value == value)
      return item;
  }
  return NULL;
}

#ifdef DEBUG
// Prints it.
static void list_print(struct list *list) { (void)list; }
#else
#define list_print(list)
#endif

int (*callback)(void) = NULL;
#endif /* LIST_H */
