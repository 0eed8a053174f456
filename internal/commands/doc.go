// Package commands answers what people ask for: it parses, authorises and runs
// every command, button, form and suggestion.
//
// A command is a [Spec], a value that holds its names, usage, role, permission,
// flags, examples and handler. [Specs] is the only list of them: the [Router],
// help, the README table, the chat manifests and the authorisation test all read
// it. A click on a button goes through the same Spec as the typed command, so no
// door has a weaker lock than another.
//
// [Router.Handle] answers at once with what is being looked up, or with a form;
// the work runs afterwards in [chat.Response.Later], which first establishes who
// asks: the account's standing on its platform, the person behind it, their
// role, and what the Defender token permits.
package commands
