package defendersim

// Table is something that can be hunted in.
type Table struct{}
