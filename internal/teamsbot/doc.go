// Package teamsbot speaks with Microsoft Teams: activities come in at
// POST /api/messages and become [chat.Invocation]s, messages leave through Bot
// Connector as Adaptive Cards.
//
// An activity is believed only as far as its token reaches. The token is verified
// before the body is parsed; its service URL, channel and tenant are then
// compared with the body, and the body's service URL with a list of exact hosts,
// because the bot sends its own access token there. The body itself is not
// signed: whatever a card sends back is a key to something stored, and a person
// is (tenant, directory object), never a name.
//
// Messages are acknowledged at once and worked on afterwards, in a bounded number
// of goroutines. Invokes (card buttons, dialogs, searches, file consents) are
// answered in the HTTP response within two seconds; what takes longer follows as a
// message, but for searches, which find nothing then.
//
// This is the only package that imports msbotbuilder-go. Its adapter and types
// are used through their seams; its token validator and HTTP client are not,
// because they cannot serve a single-tenant bot and can be bypassed.
package teamsbot
