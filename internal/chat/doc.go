// Package chat is the language between the bots and everything else: one way in,
// [Invocation], and one way out, [Message].
//
// A slash command, a mention, a direct message, a button, a form and the sandbox
// page all become an Invocation, so a check made on the way in cannot be avoided
// by taking another door. Handlers answer with a [Response] and unprompted
// messages leave as a [Post]; both carry a neutral Message that each platform
// draws in its own way.
//
// Text inside a Message is typed. mdebot's own words are [Plain]; whatever
// Defender, a directory or a person wrote is [Untrusted] or [Code] and is drawn
// literally on both platforms.
package chat
