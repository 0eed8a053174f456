// Package defendersim is Microsoft Defender for Endpoint, and the hunting call of
// Microsoft Graph, as an application meets them over HTTP.
//
//	sim := defendersim.New(defendersim.Options{Entra: entra})
//	tenant := sim.AddTenant(estate.Generate(estate.Options{Seed: 1, Now: time.Now(), Tenant: tenantID}))
//	srv := httptest.NewServer(sim)
//
// The address of srv stands for both https://api.security.microsoft.com and
// https://graph.microsoft.com. The token decides whose data is served, so one
// server holds many tenants.
//
// # Routes
//
// Each also exists under /api/v1.0. The role is what the token must carry.
//
//	GET   /api/alerts, /api/alerts/{id}                Alert.Read.All or Alert.ReadWrite.All
//	PATCH /api/alerts/{id}, POST …/batchUpdate         Alert.ReadWrite.All
//	GET   /api/machines, /api/machines/{id or name}    Machine.Read.All or Machine.ReadWrite.All
//	GET   /api/machines/findbyip(ip='…',timestamp=…)   the same
//	GET   /api/machines/{id}/alerts                    Alert.Read.All or Alert.ReadWrite.All
//	GET   /api/machines/{id}/logonusers                User.Read.All
//	POST  /api/machines/{id}/isolate, …/unisolate      Machine.Isolate
//	POST  …/restrictCodeExecution, …/unrestrictCodeExecution  Machine.RestrictExecution
//	POST  …/runAntiVirusScan                           Machine.Scan
//	POST  …/StopAndQuarantineFile                      Machine.StopAndQuarantine
//	POST  …/collectInvestigationPackage                Machine.CollectForensics
//	GET   /api/machineactions, /api/machineactions/{id}  Machine.Read.All or Machine.ReadWrite.All
//	GET   /api/machineactions/{id}/getPackageUri       Machine.Read.All or Machine.ReadWrite.All
//	POST  /api/machineactions/{id}/cancel              that of the action's kind
//	POST  /api/machines/{id}/tags                      Machine.ReadWrite.All
//	GET   /api/files/{hash}, …/stats                   File.Read.All
//	GET   /api/ips/{ip}/stats                          Ip.Read.All
//	GET   /api/domains/{host}/stats                    Url.Read.All
//	GET   /api/{files,ips,domains}/{value}/alerts, …/machines  as alerts and machines
//	GET   /api/users/{account}/machines, …/alerts      Machine.ReadWrite.All; as alerts
//	GET   /api/exposureScore, /api/configurationScore  Score.Read.All
//	GET   /api/Software                                Software.Read.All
//	GET   /api/vulnerabilities/{id}, …/machineReferences  Vulnerability.Read.All
//	GET   /api/incidents, /api/incidents/{id}          Incident.Read.All, on Defender XDR's audience
//	PATCH /api/incidents/{id}                          Incident.ReadWrite.All, there too
//	GET   /v1.0/applications(appId='…')                Application.Read.All, on Graph's audience
//	GET   /v1.0/devices(deviceId='…')/registeredOwners Device.Read.All, on Graph's audience
//	GET, POST /api/indicators, DELETE …/{id}           Ti.ReadWrite or Ti.ReadWrite.All
//	POST  /api/advancedqueries/run                     AdvancedQuery.Read.All
//	POST  /v1.0/security/runHuntingQuery               ThreatHunting.Read.All, on Graph's audience
//
// Lists take $filter, $orderby, $top, $skip, $count and, for alerts,
// $expand=evidence, and refuse what Defender refuses: filters on properties that
// cannot be filtered, unknown names and values, other options. Both quotas of a
// family of calls are kept, per application. Hunts run through a small engine,
// which knows where, project, distinct, summarize, sort, top, take and count.
//
// # Time
//
// Machine actions, attacks and late alerts move when they are looked at, by
// Options.Now alone: a test steps the clock, and nothing runs in the background.
// An action goes Pending, InProgress, Succeeded in the times of [Timing]; on a
// machine that is offline it stays Pending until the machine is back or the wait
// times out. Isolating a machine that is isolated already is accepted and never
// ends, as has been reported of Defender.
//
// # The side door
//
// What tests and the demo do beside the API, on [Tenant]:
//
//	Machines, Machine, Named            machines with what is really true about their network
//	Actions, PortalAction, FailNext     machine actions; one started in the portal; one that will fail
//	SetOnline, PutMachine               machines that come, go and change
//	Alerts, Alert, RaiseAlert, AddAlert, EditAlert   the last as if in the portal
//	StartAttack, NextStep, StopAttack, Attacks    an attack that unfolds, and ends when its way is cut off
//	AddTable                            something more to hunt in
//	SetTiming, SetRepeat                how actions go; how a repeated one is answered
//	Effects                             the ledger
//
// The ledger holds what took effect, never what was refused:
//
//	tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate), defendersim.CommentHas("#142"))
//
// [Server.Calls] holds every request, also the refused ones.
//
// # Faults
//
// They are scripted in [Server.Faults], per route and count. The unclear outcomes
// of an isolate call are:
//
//	on := "POST /api/machines/*/isolate"
//	sim.Faults.Add(fault.Fault{Kind: fault.Drop, Route: on, Times: 1})                         // not acted, not answered
//	sim.Faults.Add(fault.Fault{Kind: fault.ActDrop, Route: on, Times: 1})                      // acted, not answered
//	sim.Faults.Add(fault.Fault{Kind: fault.ActDelay, Wait: time.Minute, Route: on, Times: 1})  // acted, answered too late
//	sim.Faults.Add(fault.Fault{Kind: fault.ActLate, Wait: 5 * time.Second, Status: 504, Route: on, Times: 1})
//	sim.Faults.Add(fault.Fault{Kind: defendersim.ListedLate, Wait: 90 * time.Second, Route: on, Times: 1})
//	sim.Faults.Add(fault.Fault{Kind: defendersim.ListedTwice, Route: on, Times: 1})
//	sim.Faults.Add(fault.Fault{Kind: defendersim.NoEffect, Route: on, Times: 1})               // answered success, not acted
//
// To hide an action and lose its answer too, set Timing.Hidden beside a fault.
// The life cycle runs on Options.Now, the waits of faults on the real clock.
package defendersim
