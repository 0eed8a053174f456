// Package failpoint makes a process crash, fail or hesitate at a durable step, so
// that tests can drive the real binary through every place where it could lose or
// repeat something. It exists only under the build tag failpoint; without it every
// function is empty and inlined away, and no setting brings it back.
//
// A step is a transaction or a call to the outside. A transaction gets its name by
// the context that it is begun with, see [Step]; a call is put into [Around].
//
// FAILPOINTS says what happens, as in
//
//	vote-saved=crash-after@2,transaction=delay:500ms
//
// crash-before and crash-after are kill -9, before and after the commit or the
// call. error-before prevents the step; error-after hides that it happened, as a
// connection does that breaks too late. delay waits before the commit or the call.
// @n is the nth time that the process comes there, and only then; without it a
// crash happens the first time, and the others every time.
package failpoint

// Point names a durable step.
type Point string

// The points.
const (
	// Transaction is every transaction, whatever its name.
	Transaction Point = "transaction"

	CommandAccepted Point = "command-accepted" // a delivery is noted as taken
	RequestSaved    Point = "request-saved"
	VoteSaved       Point = "vote-saved" // with the quorum and the job, when it is reached
	ClaimCommitted  Point = "claim-committed"
	ActionCalled    Point = "action-called" // the POST to Defender
	ResultSaved     Point = "result-saved"  // of the POST, and of following the action
	MessagePosted   Point = "message-posted"
	MessageRecorded Point = "message-recorded"
	AlertsRead      Point = "alerts-read" // a page of them
	AlertsSaved     Point = "alerts-saved"
	WatermarkMoved  Point = "watermark-moved"
	SweepDone       Point = "sweep-done" // one row of it
	LinkSaved       Point = "link-saved"
	HeadSent        Point = "head-sent" // of the audit chain, to one place outside
	CheckpointSaved Point = "checkpoint-saved"
	BackupWritten   Point = "backup-written" // before it gets its name
	Migrated        Point = "migrated"       // by one migration
	KeyRotated      Point = "key-rotated"    // a batch of rows, or the note about the key
)
