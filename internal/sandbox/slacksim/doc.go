// Package slacksim is Slack as a bot sees it: a workspace with people, channels
// and messages that speaks the Web API, delivers signed slash commands,
// interactions and events (or the same over Socket Mode), serves response
// addresses and file uploads, and refuses what Slack refuses.
//
//	sim := slacksim.New(slacksim.Options{BotToken: "xoxb-…", SigningSecret: "…"})
//	srv := httptest.NewServer(sim)
//	sim.SetBaseURL(srv.URL)           // SLACK_API_URL is srv.URL + "/api/"
//	sim.SetBotURL("http://127.0.0.1:8080")
//	sim.AddUser(slacksim.User{ID: "U0RILEY", Name: "riley"})
//	sim.AddChannel(slacksim.Channel{ID: "C0SOC", Name: "soc", BotIn: true, Members: []string{"U0RILEY"}})
//
// What people do are methods: [Server.Slash], [Server.Mention], [Server.Direct],
// [Server.Click], [Server.Choose], [Server.Shortcut], [Server.SubmitView],
// [Server.CloseView], [Server.Suggest], [Server.OpenHome], [Server.ClickHome] and
// [Server.ChooseHome]. They return when the bot has acknowledged, with a
// [*DeliveryError] for what Slack would show as an error. What people see are
// [Server.Messages], [Server.Modal], [Server.Home] and [Server.Channels]; [Server.Subscribe]
// tells when to look again. [Server.Ledger] is what took effect, whatever the
// bot was told, and [Server.Inject] scripts faults.
//
// The package imports nothing of mdebot, so that agreement between the two means
// something.
package slacksim
