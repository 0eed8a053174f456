// Package slackbot joins mdebot to one Slack workspace: it authenticates and
// decodes what Slack delivers, over HTTP or Socket Mode, and draws and sends what
// mdebot says. It is the only package that imports slack-go.
//
// A delivery is verified over its raw bytes before anything is parsed, decoded
// strictly, held against the installed app and workspace, remembered by its
// delivery ID, queued and acknowledged; only then do workers ask the
// [chat.Handler]. Submitted forms and suggestions are the exception: their answer
// is the acknowledgement.
//
// Everything mdebot says passes one renderer, which keeps Slack's limits by
// construction and lets no outside text become a mention, a link or formatting.
package slackbot
