// Package entrasim is Microsoft Entra ID: the token endpoints v1 and v2 for the
// client credentials grant, signing people in by authorisation code with PKCE, the
// tokens that programs of Microsoft get for people who are signed in there, and the
// people and groups that Microsoft Graph tells about.
//
//	entra := entrasim.New(entrasim.Options{})
//	entra.Register(tenantID, entrasim.App{
//		ID: clientID, Secret: secret,
//		Roles: map[string][]string{entrasim.Defender: {"Machine.Read.All", "Machine.Isolate"}},
//	})
//	srv := httptest.NewServer(entra) // POST /{tenant}/oauth2/v2.0/token and /{tenant}/oauth2/token
//
// Tokens are signed JWTs that carry the roles granted for the audience asked for
// when they were issued: a role added later needs a new token, as in Entra. What
// Entra refuses is refused with its envelope and AADSTS code. Other simulators
// ask [Server.Verify]; tests script trouble through [Server.Faults], for instance
//
//	entra.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Times: 2})
package entrasim
