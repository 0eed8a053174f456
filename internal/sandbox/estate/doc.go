// Package estate is a company as Defender for Endpoint knows it: some hundreds
// of machines, the people who use them, alerts with evidence, the incidents that
// group them, and raw events for hunting. It is plain data; the types marshal to
// the JSON that Defender's API speaks.
//
//	e := estate.Generate(estate.Options{Seed: 1, Now: now, Tenant: tenantID})
//
// The same options give the same estate, byte for byte. What is in it on purpose:
//
//	ws-001 … ws-160    Windows workstations, joined to corp.contoso.com
//	lt-001 … lt-060    Windows laptops with short names, some away from the network
//	srv-…-01 …         Windows servers; web-01 …, db-01 …  Linux servers; mac-001 …  Macs
//	dc-01 … dc-04      domain controllers, tagged tier0
//	ws-011 … ws-020    tagged finance
//	srv-hmi-01, -02    plant control, tagged never-isolate
//	ws-042             re-imaged: one inactive and one active record of the same name
//	lt-007             two active records of the same name
//	ws-077             an old record that was merged into the new one
//	LT-031             a name in capitals
//	ws-04              the beginning of ten names, and the name of none
//	lt-013, lt-026, …  offline for hours to weeks
//	ws-150 …           an old Windows whose sensor cannot isolate
//	phone-01, printer-01   an iPhone; a device that was only discovered
//
// [Estate.Attack] describes an attack that unfolds in steps from a phishing
// document on a finance workstation to a file server.
package estate
