/* What the owner of a slice asks of its copies (magmad/mirror). */
#include "magmad/core/core.h"

static void nobody(Op *op) { op_error(op, EOPNOTSUPP); }

void handle_mirror_attach(Op *op) { nobody(op); }
void handle_mirror_start(Op *op) { nobody(op); }
void handle_mirror_append(Op *op) { nobody(op); }
void handle_mirror_sync(Op *op) { nobody(op); }
