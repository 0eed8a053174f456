// Package notify says everything that nobody asked for: approval cards, alerts,
// reminders, outcomes and alarms about the bot itself.
//
// What is shown where is a card: one row per subject and destination with a
// wanted and a shown version. Whoever changes a subject bumps wanted in the same
// transaction; [Notifier.Deliver] draws the current state and posts or edits
// until shown has caught up. So edits coalesce, a crash between a change and its
// message loses nothing, and a card never shows a state that was not committed.
//
//	change ──tx──► cards.wanted++ ─► job "deliver" per destination ─► lease
//	                     ▲                                             │ most urgent first
//	   sweep every 2 s ──┘ (lost wake-ups, dead replicas)              ▼
//	                            draw from current state ─► pace ─► post or edit ─► cards.shown
//
// Edits that show what a person did come before those that follow an action or an
// alert, because Slack allows few. A card on which somebody has just clicked needs no
// place among them where the click itself brought a way to edit it ([chat.ClickEditor]).
//
// A post is recorded as tried before it leaves. When its outcome is not known,
// the platform is asked before it is repeated; where it cannot tell, one extra
// post is the worst that happens (reliability P-6).
//
// Alerts are a set, not a stream. Three passes with growing overlap read them,
// and what was seen before is remembered by its content, so late arrivals, equal
// times and shifting pages neither lose nor repeat one (threat-model N-01, N-02).
package notify
