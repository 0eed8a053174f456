// Package approvals holds the two-person rule: who asked for what, who voted, and
// what may therefore be done. It knows no chat platform and never calls Defender.
//
// A [Request] proposes one action on up to 25 targets. It is frozen when it is
// opened: a SHA-256 over its canonical encoding ([Digest]) is what every card,
// vote and execution carries, and a vote for another digest does not count.
//
// States, per target; a request sums its targets up:
//
//	            quorum         claim               answer               Defender's end
//	pending ──────────► approved ─────► executing ────────► submitted ─────────────────► succeeded
//	   │                │  ▲  │          │  │  │                │  ▲                  └► failed
//	   │                │  └──┼──────────┘  │  │ refused        │  │ found
//	   │                │ refused for now   │  └─────────► failed  │
//	   │                │     │             │ no clear answer│     │
//	   │                │     │             └───► unknown ◄──┘ ────┘
//	   │                │     │                    │  lost track
//	   │                │     │                    ├► succeeded        settled: done
//	   │                │     │                    └► approved, failed settled: not done
//	   └────────────────┴─────┴► denied · withdrawn · expired · void
//
// Who may move it:
//
//   - pending → approved: the vote that completes the quorum of [Evaluate].
//   - → denied: one denial by anyone entitled to approve, or with the role
//     responder or approver. It wins until a target is claimed, and still stops
//     the targets that are not.
//   - → withdrawn: the requester, as long as some target is not claimed.
//   - pending → expired, approved → void: time, in [Service.Sweep] and again in
//     the transaction that would go past it.
//   - pending, approved → void: [Service.Restored], when the database is not the
//     one that was anchored outside.
//   - approved → executing: [Service.Claim], which judges everything once more:
//     votes under the stored rule and the rule in force, current roles, expiry,
//     the digest over the stored row, the facts of that moment. What does not
//     pass is void.
//   - executing → submitted, failed, unknown, approved: the holder of the
//     [Attempt], while its lease lasts. When the lease ends first, the sweep moves
//     the target to unknown: the call may have left.
//   - unknown → submitted: the look that finds the action at Defender.
//     unknown → approved, failed: the look that shows it is not there, for actions
//     of which that can be known. Otherwise two people, by a request of the action
//     settle.
//
// [Service.Freeze] is one approver's stop of everything that calls Defender: what
// is approved becomes void, and nothing is opened, approved or claimed until a
// request of the action unfreeze ends it. The claim reads it in its transaction.
//
// Every move is a compare-and-set in one transaction with its audit record, the
// announcement ([Announcer]) and the job that goes on from there.
package approvals
