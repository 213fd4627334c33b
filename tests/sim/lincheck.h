/* Is a history of concurrent operations on one object linearizable? Each must seem to have happened at one instant between its call and its return; one that never returned, at any instant after its call or never.
 * The search is Wing and Gong's with Lowe's memoisation of (operations done, state), as in porcupine. Objects are independent of each other (Herlihy and Wing: linearizability is local), so each has a history of its own. */
#pragma once
#include <glib.h>

typedef struct {
	gsize op_size, state_size;    /* plain bytes without padding that is not zeroed */
	/* Does op, which answered (or never did), fit to *state? FALSE: it cannot have happened here; or, of one without an answer, it would change nothing, so it need not. Else *state is what it leaves. */
	gboolean (*step)(const void *op, gboolean answered, void *state);
	void (*describe)(const void *op, gboolean answered, GString *out);
} LinModel;

typedef struct LinHistory LinHistory;
typedef enum { LIN_GOOD, LIN_BAD, LIN_UNKNOWN } LinResult;      /* unknown: given up */

LinHistory *lin_new(const LinModel *model, const void *first_state);
void lin_free(LinHistory *h);
/* In the order in which it happens. who: for people. The op is copied. Returns its number. */
guint lin_call(LinHistory *h, guint who, const void *op);
/* The op with its answer. */
void lin_return(LinHistory *h, guint n, const void *op);
/* n, which is about to return or never will, may have happened once more, at any instant between its call and now: the same operation, without an answer. */
void lin_again(LinHistory *h, guint n);
guint lin_count(const LinHistory *h);
/* To complete what is known only later. */
void *lin_op(LinHistory *h, guint n);
/* steps_max bounds the work. why (may be NULL) gets the history and how far it makes sense, when it is bad. */
LinResult lin_check(const LinHistory *h, guint64 steps_max, GString *why);
