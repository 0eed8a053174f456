package chat

import (
	"context"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
)

// Kind is how an invocation came about.
type Kind string

// The kinds of invocation.
const (
	Command Kind = "command" // text: a slash command, a mention, a direct message
	Click   Kind = "click"   // a button or a menu choice
	Submit  Kind = "submit"  // a form
	Suggest Kind = "suggest" // options for a search field, while typing
	// Shortcut is about a message that somebody wrote: Text is all that it says, and
	// Action what is asked about it. None of the text was meant for mdebot.
	Shortcut Kind = "shortcut"
	// Links is somebody who posted addresses: Text is one a line. None of it was meant
	// for mdebot.
	Links Kind = "links"
	// Find is somebody who writes a message and looks for what to put into it: Text is
	// what was typed so far, Action what kind of thing it is. What they choose is read by
	// everybody in the conversation.
	Find Kind = "find"
	// Home is somebody who looks at their [Page]. Nothing is asked for.
	Home Kind = "home"
	// View is somebody's client that draws a message anew for them, by the Action and
	// Value of its [Views] and mostly by itself, as often as it likes. Nobody asked for
	// anything: nothing comes of it but Replace, and without that the message stays.
	View Kind = "view"
)

// Invocation is one thing a person asked for, whichever door it came through.
// The adapter has authenticated it; nothing in it is authorised yet.
type Invocation struct {
	Kind Kind
	// Delivery identifies this delivery on its platform, so that a repeated one
	// does nothing: slash = trigger_id, interaction = trigger_id + action_ts,
	// event = event_id, view = view ID + hash, Teams = tenant + conversation +
	// activity ID.
	Delivery string
	// By is who asks.
	By identity.Principal
	// In is where, including the thread when there is one.
	In Conversation
	// Text is the command without "/mde" or the mention, with platform entities
	// decoded, what was typed so far for Suggest and Find, or what the message of a Shortcut
	// says.
	Text string
	// Action and Value are those of the button, menu option or form, Action also that
	// of the shortcut and of Find.
	Action string
	Value  string
	// Fields are the inputs of a submitted form by field ID.
	Fields map[string]string
	// Source is the message that holds the button, or zero.
	Source Ref
	// Slash tells that "/mde" works where this came from, so that examples in
	// answers can be copied; otherwise they start with the mention.
	Slash bool
	// At is when the adapter received it.
	At time.Time
}

// Audience is who sees an answer.
type Audience int

// The audiences.
const (
	// Asker answers where the question was asked, as privately as the platform
	// does well: ephemeral on Slack, a reply in the thread on Teams.
	Asker Audience = iota
	// Personal answers to the asker alone: ephemeral on Slack, targeted on Teams or,
	// where that cannot be had, in the personal chat with a pointer in the thread.
	Personal
	// Everyone posts in the conversation.
	Everyone
)

// Response is the answer to an invocation. Now-fields are what a platform's
// acknowledgement can carry and are ready within two seconds; Later is the work.
// At most one of Message, Form, Errors, Options, Replace, Previews and Found is set.
type Response struct {
	Audience Audience
	// Message is the first answer: the result itself, or what is being done.
	Message *Message
	// Replace is drawn in place of the clicked message, for the clicker.
	Replace *Message
	// Form opens a dialog.
	Form *Form
	// Errors are shown beside the fields of the submitted form, by field ID, and
	// keep it open.
	Errors map[string]string
	// Options answer Suggest.
	Options []Option
	// Otherwise is what the asker is told in private in place of an answer for
	// Everyone, where people from outside read along or that cannot be found out.
	// Without it the asker gets the answer itself.
	Otherwise *Message
	// Previews are what is shown below the addresses of Links that mdebot knows
	// something about. It runs after an acknowledgement, like Later, or while somebody
	// writes a message and waits some seconds, as long as ctx lasts.
	Previews func(ctx context.Context) map[string]Message
	// Found is what Find brings, the best first, for whoever reads the message that is
	// being written. It runs while its writer waits some seconds, as long as ctx lasts.
	// With nothing, the second message tells the writer alone why.
	Found func(ctx context.Context) ([]Message, Message)
	// Later runs after the first answer, on a context that outlives the request.
	// What it sends through out replaces the first answer.
	Later func(ctx context.Context, out Replier)
}

// Replier carries the answers that come after the first one. Implementations
// fall back to the asker's direct chat when the place is gone or the platform's
// time for late answers is over.
type Replier interface {
	// Progress shows how far the work is. Calls are coalesced; some are dropped.
	Progress(ctx context.Context, m Message)
	// Answer replaces the first answer, or follows it. It may be called once.
	Answer(ctx context.Context, m Message) error
}

// Handler answers invocations. It is safe for concurrent use and returns within
// two seconds whatever else is slow.
type Handler interface {
	Handle(ctx context.Context, inv Invocation) Response
}
