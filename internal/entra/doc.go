// Package entra signs applications in at Microsoft Entra ID: with a client
// secret, a certificate, a managed identity or a workload identity, in any cloud.
//
// [Credential.Source] is an oauth2.TokenSource that asks Entra at every call and
// keeps nothing: whoever uses a token decides when it is old. (Tokens of managed
// identities are an exception: Microsoft's library and Azure keep those.) A
// certificate or a federated token is read from its file at every call, so a
// renewed file is used without a restart.
//
// Refusals are [*Error]. They hold no secret and no part of an answer beyond its
// codes, and [Error.Advice] says in two sentences what is wrong and what to do.
package entra
