// Package cards turns domain values into chat messages. Every function is pure:
// the same value gives the same [chat.Message], with the same facts on every
// platform, and nothing is read or looked up here.
//
// Outside text (names, titles, reasons, whatever Defender or a person wrote)
// enters a message only as [chat.Untrusted] or [chat.Code], one labelled line
// per value, so that it can imitate neither markup nor a line of ours. Tone and
// severity are also words. A fact that could not be read is said to be missing,
// never left out.
package cards
