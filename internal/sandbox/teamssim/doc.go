// Package teamssim is Microsoft Teams as a bot sees it: Bot Connector's REST API
// and keys on one side, and on the other a Teams client that people hold in
// their hands. It speaks the real protocol over HTTP, keeps the vendor's limits
// and imports nothing of mdebot's.
//
// # Setting up
//
//	sim := teamssim.New(teamssim.Config{AppID: appID, BotName: "mdebot", Verify: entra.Check})
//	srv := httptest.NewServer(sim)      // *Server is an http.Handler
//	sim.SetBaseURL(srv.URL)             // how the bot reaches the simulator
//	sim.SetEndpoint(bot + "/api/messages")
//	sim.AddUser(teamssim.User{Tenant: t, Object: o, Name: "Riley Chen"})
//	sim.AddTeam(teamssim.Team{Tenant: t, ID: "19:general@thread.tacv2", Name: "SOC", Members: []string{o}})
//	sim.AddChannel(teamssim.Channel{Team: "19:general@thread.tacv2", ID: "19:alerts@thread.tacv2", Name: "Alerts"})
//	err := sim.Install(ctx, "19:general@thread.tacv2")
//
// The bot under test is given MetadataURL as TEAMS_METADATA_URL and Host as
// TEAMS_SERVICE_HOSTS.
//
// # People
//
// Everything a person does in Teams is a method that returns once the bot has
// answered the delivery: [Server.Message], [Server.Paste], [Server.Slash], [Server.Click], [Server.OpenDialog],
// [Server.Search], [Server.SubmitDialog], [Server.AnswerFile], [Server.Show], [Server.Refresh]. Users are named by object ID,
// conversations by ID; [Server.PersonalChat] is a person's chat with the bot.
// [Server.Messages] shows a conversation as one user sees it, with the exact
// payloads the bot sent and the cards that were replaced for that user alone.
// [Server.Subscribe] tells that something changed and [Server.WaitFor] waits.
//
// # Trouble
//
// [Server.Fail] scripts faults of the REST API, [Server.RotateKeys] changes the
// signing key, [Server.Deliver] sends any activity under any token, and
// [Server.BadTokens] is a collection of tokens that a bot must refuse.
// [Server.Effects] is the ledger of what took effect, [Server.Calls] of every
// call that came in.
package teamssim
