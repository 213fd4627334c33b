/* What clients do with a slice, in the ways of magmad/core: transactions on rows, operations on contents under write intents; and a model that knows what must be there whoever owns the slice next. */
#pragma once
#include "tests/sim/mirror_net.h"

typedef struct Load Load;

Load *load_new(MNet *n);
void load_free(Load *l);
/* Begins something, perhaps. */
void load_go(Load *l);
void load_stop(Load *l);              /* begins nothing new */
gboolean load_idle(const Load *l);
/* It has nothing that a later owner did not have: who was away when the slice changed hands would bring such things back, as long as nothing was acknowledged since. The model is of one line only. */
gboolean load_may_own(const Load *l, const MNode *node);
void load_tell(const Load *l);        /* traces what is not */
/* Everywhere at once: only what was synced is promised. Before another one owns. */
void load_power_failed(Load *l);
/* An owner that is not any more, and does not know: what it does now must come to nothing. */
void load_fenced(Load *l, Store *s);
guint64 load_done(const Load *l);     /* operations that were acknowledged */
/* A content that reads badly from now on at that node, if there is one. */
void load_break(Load *l, MNode *node);
/* All copies are the same, and as the model says. */
void load_check_all(Load *l);
