// Package fault holds deliberate faults, for one purpose: to prove that the model
// of the approval workflow would find them. They exist in test binaries that are
// built with the tag faults, one at a time, chosen by the environment. In every
// other build [On] is false at compile time, and what it guards is not there.
package fault

// Name is one fault.
type Name string

// Env chooses the fault of a test binary.
const Env = "MDEBOT_FAULT"

// The faults.
const (
	OwnVote   Name = "requesters may decide their own requests"
	Accounts  Name = "accounts are counted instead of people"
	Names     Name = "an account stands for whoever has its name"
	Payload   Name = "what a button says is taken for what was shown"
	Denial    Name = "a denial is noted and forgotten"
	CoolDown  Name = "a new link counts at once"
	Rules     Name = "the rules of the opening hold for ever"
	Expiry    Name = "approvals never end"
	Digest    Name = "the stored row is believed"
	Facts     Name = "facts count however old they are"
	Freeze    Name = "a freeze stops nothing"
	Twice     Name = "moves do not compare the state they go from"
	Lease     Name = "a lost lease is not noticed"
	Resend    Name = "a call without an answer is sent again"
	Unaudited Name = "the intent is recorded with the answer"
	Adopt     Name = "any action on the machine is taken for ours"
	Early     Name = "groups that a rule falls back to may approve at once"
	Restored  Name = "a database that was put back is taken for the right one"
)

// All lists the faults.
func All() []Name {
	return []Name{
		OwnVote, Accounts, Names, Payload, Denial, CoolDown, Rules, Expiry, Digest, Facts, Freeze,
		Twice, Lease, Resend, Unaudited, Adopt, Early, Restored,
	}
}
