/* A slice on its way from one volcano to another. */
#include "magmad/core/core.h"

void move_follow(Volcano *v, Txn *t) { (void)v; (void)t; }
gboolean move_frozen(Volcano *v, const MagmaKey *k) { return FALSE; }
void move_content_changed(Volcano *v, const MagmaFid *fid) { (void)fid; }
void move_tick(Volcano *v) { (void)v; }
void move_clear(Volcano *v) { (void)v; }
void move_map_changed(Volcano *v) { (void)v; }
void move_plan(Volcano *v) { (void)v; }
void handle_move_rows(Op *op) { op_error(op, EOPNOTSUPP); }
void handle_move_data(Op *op) { op_error(op, EOPNOTSUPP); }
void handle_move_ready(Op *op) { op_error(op, EOPNOTSUPP); }
void handle_move_commit(Op *op) { op_error(op, EOPNOTSUPP); }
