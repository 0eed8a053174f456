// Package anchor sends the ends of the audit chains to places that mdebot cannot
// rewrite, and compares the chains with what was sent.
//
// A hash chain shows every change but one: whoever can write the database can cut
// its tail, write another one with correct hashes, or put back yesterday's copy.
// The head that was sent outside before does not lie on such a chain.
//
// A [Keeper] compares before it sends, at start and then every few minutes. When
// the comparison fails it sends nothing more, so that the newest anchor outside
// stays the evidence, until people have accepted the database as it is.
package anchor
