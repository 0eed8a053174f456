package policy

import _ "embed"

//go:embed example.yaml
var example string

// Example is a complete, commented mdebot.yaml to start from. It loads without
// faults and without warnings.
func Example() string { return example }
