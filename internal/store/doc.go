// Package store implements [durable.DB] on a SQLite file and on PostgreSQL, with
// River as the job runner of both. The address picks the engine; every line
// above this package, and nearly all SQL, is the same.
//
//	s, err := store.Open(ctx, "sqlite:mdebot.db", store.Options{Logger: logger})
//	…
//	s.Handle("execute", containment.Execute, 4) // what jobs of a kind do
//	s.Tick("approvals", approvals.Sweep)        // what every replica looks for
//	err = s.Start(ctx)
//	…
//	err = s.Stop(ctx)  // waits for what runs
//	err = s.Close()
//
// # What is promised
//
// State and jobs commit together: a job is a row written by the transaction that
// makes it necessary. It runs at least once, usually within 50 ms. It is never
// given up: what keeps failing is retried slowly and loudly. Still it is only a
// reminder. The truth is in the tables, workers find out there what is left to
// do, and the sweeps registered with [Store.Tick] find what no job remembers.
//
// A process may die at any moment. On SQLite the next one owns the file alone,
// so it frees all running jobs at start. On PostgreSQL each replica shows every
// two seconds that it lives, and any of them frees the jobs of one that has been
// silent for six. That a job runs twice, because a silent replica was only slow,
// cannot be ruled out by any queue; the leases of the tables are for that.
//
// # One behaviour on two engines
//
// Transactions are serialisable on both: SQLite has one writer, PostgreSQL
// detects conflicts, and [Store.InTx] repeats what lost. What only one engine
// would refuse is refused on both, so that a test on SQLite is worth something
// for PostgreSQL: arguments other than text and integers, a statement while rows
// are being read, and carrying on after a statement that failed. The rest is in
// the documentation of package durable.
//
// The exceptions are the reaper, which reads from River's table who took a job
// (see dialect), and that [Store.Read] only refuses every write on SQLite.
//
// # SQLite
//
// The program and River share one connection for writing. With two, each would
// wait for the other in SQLite's busy handler, which is not fair: seconds instead
// of milliseconds under load. Transactions queue for it in order of arrival. The
// price is that a second handle used inside a transaction waits for the first
// one for ever, or until its context ends; a transaction that takes longer than
// five seconds is therefore logged with the place that began it.
//
// Readers have four connections of their own, which the write-ahead log lets see
// the last commit without waiting. Every commit is on disk before it returns.
//
// The file belongs to one process, by a lock on a file beside it (NAME.lock)
// that also tells whether the last owner closed properly. Without that word the
// whole file is checked at start, indexes included; with it, the structure only.
//
// # Schema
//
// migrations/ holds our tables, one file per owner, in SQL that both engines
// understand; River brings its own. Both are applied by Open, forward only, on
// PostgreSQL under a lock because replicas start together. A schema that a newer
// mdebot has migrated is refused. To add a table, add a file with the next
// number; every table of customer data begins its key with the tenant.
package store
