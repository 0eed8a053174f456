// Package containment carries out what approvals has approved, once.
//
// Two durable workers do it. Execute reads the facts of the moment, claims the
// target, sends one POST and records the answer; Follow watches the machine
// action to its end. Defender has no idempotency key, so an answer that was not
// seen is never followed by a second POST: the target becomes unknown and the
// machine's actions are looked through for the marker in their comment, until
// people settle what stays unclear.
//
// This is the only package that names the acting client, so the two-person rule
// can be checked by reading it and approvals.
package containment
