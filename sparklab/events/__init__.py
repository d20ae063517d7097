"""What happened: immutable facts, the journal that keeps them, and the views folded from them."""
