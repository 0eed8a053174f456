// Package audit keeps the record of who did what: one hash chain per tenant.
//
// A record is appended in the transaction of the change it describes, so either
// both are there or neither is, and an action whose record cannot be written
// does not run (threat-model L-04, INV-6). Each record holds the hash of the one
// before it and its own hash over a canonical encoding of every column, so that
// [Verify] finds an edited, deleted, inserted or reordered record and names the
// first sequence number that is wrong.
//
// The chain alone does not stop somebody who can write the database from
// rewriting a tail with all its hashes. That is found by comparing it with an
// [Anchor], a [Head] that was sent elsewhere: [Check] at every start, [Verify]
// with everything else.
//
// [Log.Purge] removes old records and leaves one that vouches for them.
package audit
