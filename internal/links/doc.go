// Package links lets people link their Slack account to themselves, and tells who
// is behind an account: by mdebot.yaml, by Teams, or by such a link.
//
// A person is proven by the directory, in one of two ways (threat-model I-06):
//
//	Slack: link ─► address, 10 minutes ─► browser: "link T0SOC/U0RILEY?" ─► sign in ─► code
//	Slack: link <code> ◄────────────────────────────────────────────────────────────────┘
//
//	Slack: link ─► code, 10 minutes ─► Teams, personal chat: link <code> ─► "link T0SOC/U0RILEY?" ─► Yes
//
// Whoever lures somebody else into signing in never sees the code, which is only
// good in the account that began. The address, the sign-in and the codes are each
// good once; the sign-in only in the browser that began it. The database keeps
// hashes of all of them, so reading it completes no link.
//
// A link says who somebody is and gives no role: those come from mdebot.yaml, for
// the people whom it names. An account that the file names is never linked
// otherwise. Approvals through a new link count after [CoolDown], or as soon as a
// second person has confirmed it; whoever took over a chat account must not be able
// to make it an approver at once (threat-model I-07).
//
// Every change is one transaction with its audit record and with the messages to
// every place where the person can be reached.
package links
