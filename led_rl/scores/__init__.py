"""What the counts of right answers say: numpy only, no model needed."""
