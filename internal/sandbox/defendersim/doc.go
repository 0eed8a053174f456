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
package defendersim
