// Package store implements [durable.DB] on a SQLite file and on PostgreSQL, with
// River as the job runner of both.
package store
