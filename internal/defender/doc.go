// Package defender is a boring client for Microsoft Defender for Endpoint, and
// for the hunting part of Microsoft Graph.
//
// # Reads and acts
//
// [Client] reads, updates alerts and hunts. [Actor] isolates and releases, and
// is a type of its own so that only the package that carries out approved
// requests can be given one. Reads repeat by themselves, a few times and with
// growing waits. Nothing else does: an Actor sends one POST on a fresh
// connection and then says one of three things. It worked; it was refused
// without effect (ErrInvalid, ErrForbidden, …, *ThrottledError); or nobody knows
// ([ErrUnclear]), and the caller has to look before trying again.
//
// # One way out
//
// Every method describes a request and hands it to one function, which takes a
// token, asks the quota, sends, caps the body and turns refusals into errors.
// Requests go to the hosts of the configured cloud and nowhere else: redirects
// are not followed, a next link must stay on those hosts and on its own
// collection, and names that resolve to private addresses are not dialled.
//
// # Lanes
//
// Defender allows a tenant 100 calls a minute and 1,500 an hour. The client
// counts its own calls and refuses those beyond, each [Lane] at its own share,
// so that people who read and hunt cannot use up what approved actions and the
// alert poller need. A 429 is remembered for the kind of call it answered, and
// calls of that kind are refused without being sent until it has passed. Both
// come back as *[ThrottledError].
//
// # Fresh and merged
//
// Identical reads of people are merged while in flight and answered from memory
// for some seconds. The action and alert lanes, and [Client.Fresh], always ask
// Defender.
//
// # Audiences
//
// The host of a URL is not the audience of its token: Defender demands tokens
// for api.securitycenter.microsoft.com on every host of the commercial cloud.
// There is one token source per (authority, tenant, client, audience); what
// came back is checked against tenant and audience, and its roles tell what
// this application may do ([Client.Permissions]).
package defender
