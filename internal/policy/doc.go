// Package policy reads mdebot.yaml and answers what it says: who people are,
// which rule decides a request, who may vote on it, where alerts go.
//
// A [Policy] is one reading of the file. It never changes, so everything that is
// decided together is decided by the same file; [Source] holds the one in force
// and a reload replaces it whole. [Parse] reports every fault of a file at once,
// each with its line, and refuses what cannot work: unknown keys, conditions
// that do not compile, rules that nobody could satisfy.
//
// Conditions are CEL over the facts in [Machine], [Alert] and [Action]. They are
// compiled when the file is read and can neither loop nor call anything. What
// cannot be evaluated is decided for the safe side: a rule is the strictest one,
// a machine is protected, a route matches (threat-model INV-8, INV-11).
package policy
