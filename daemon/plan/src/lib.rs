//! Pure planner: status rules, ordering, inventory, state machine.
