package defendersim

import "github.com/mdebot/mdebot/internal/sandbox/fault"

// Faults that only Defender can have. They go into [Server.Faults] like the
// others.
const (
	// NoEffect answers a change with success and does nothing: an isolate call
	// gets a believable 201 whose action never existed.
	NoEffect fault.Kind = "defender-no-effect"
	// ListedLate accepts an action and hides it from lists and from GET for Wait.
	ListedLate fault.Kind = "defender-listed-late"
	// ListedTwice accepts one action and shows it twice in lists.
	ListedTwice fault.Kind = "defender-listed-twice"
	// WrongObject answers a GET by ID with another object.
	WrongObject fault.Kind = "defender-wrong-object"
	// ForeignNextLink ends a list page in a next link to another host;
	// RepeatedNextLink in one to the same page.
	ForeignNextLink  fault.Kind = "defender-foreign-next-link"
	RepeatedNextLink fault.Kind = "defender-repeated-next-link"
)
