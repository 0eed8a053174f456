// Package sandbox is the world around mdebot: Entra, Defender, Slack, Teams and a
// receiver of pages, simulated over HTTP with one company in them, and a page to use them by hand.
// The demo and the story tests start it and give its addresses to the bot; the
// bot itself is the same as in production.
//
// Neither this package nor those below it import anything of mdebot's.
package sandbox
