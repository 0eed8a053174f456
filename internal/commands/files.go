package commands

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

var hexDigits = regexp.MustCompile(`^[0-9a-f]+$`)

// quarantineWords reads the hash. Defender takes a SHA-1 alone, so whoever has
// another one is told how to get it.
func quarantineWords(c *call, leading []token) (map[string]string, error) {
	if len(leading) == 0 {
		return nil, usageError(c, "Which file? Give its SHA-1.")
	}
	hash := strings.ToLower(leading[0].text)
	ask := func(column string) chat.Text {
		return chat.Join(chat.Plain("Its SHA-1 comes from: "),
			chat.Code(withPrefix(prefix(c.inv), "hunt DeviceFileEvents | where "+column+" == \""+hash+"\" | summarize by SHA1, FileName")))
	}
	digits := hexDigits.MatchString(hash)
	switch {
	case digits && len(hash) == 40:
		return map[string]string{"file": hash}, nil
	case digits && len(hash) == 64:
		return nil, &sorry{sentence: chat.Plain("That is a SHA-256; Defender quarantines by SHA-1 alone."), next: ask("SHA256")}
	case digits && len(hash) == 32:
		return nil, &sorry{sentence: chat.Plain("That is an MD5; Defender quarantines by SHA-1 alone."), next: ask("MD5")}
	}
	return nil, usageError(c, "That is no SHA-1: it has 40 hexadecimal digits.")
}

// aboutFile reads what is known about the file of a request. What cannot be read
// is named as missing; a file that Defender protects is refused.
func aboutFile(ctx context.Context, r *Router, params map[string]string) (func(defender.Machine, *cards.TargetFacts), error) {
	f := r.fileFacts(ctx, params["file"])
	f.SHA1 = params["file"]
	if f.Valid && strings.Contains(strings.ToLower(f.Signer), "microsoft") {
		return nil, sayOf("That file is signed by ", f.Signer, ", and Defender quarantines no file that Microsoft signed.", "Nothing was asked for. If you know better, look at it in the portal.")
	}
	machines, err := r.Defender.RelatedMachines(ctx, defender.Observable{Kind: defender.ObservableFile, Value: f.SHA1})
	return func(m defender.Machine, into *cards.TargetFacts) {
		own := f
		if err == nil {
			own.Here = "no"
			if slices.ContainsFunc(machines, func(seen defender.Machine) bool { return strings.EqualFold(seen.ID, m.ID) }) {
				own.Here = "yes"
			}
		}
		into.File = &own
	}, nil
}

// fileFacts reads what Defender knows about a file, by its SHA-1 or SHA-256.
func (r *Router) fileFacts(ctx context.Context, hash string) cards.FileFacts {
	file, err := r.Defender.File(ctx, hash)
	if errors.Is(err, defender.ErrNotFound) {
		return cards.FileFacts{Unread: "Defender has never seen it"}
	}
	if err != nil {
		return cards.FileFacts{Unread: whyUnread(err, defender.PermissionFileRead)}
	}
	f := cards.FileFacts{
		SHA1: file.SHA1, SHA256: file.SHA256, Signer: file.Signer, Valid: file.ValidCertificate, Publisher: file.Publisher,
		Determination: strings.TrimSpace(file.Determination + " " + file.DeterminationName), Global: file.GlobalPrevalence,
	}
	if seen, err := r.Defender.FileSightings(ctx, hash); err == nil {
		f.Names, f.Machines, f.First, f.Last = seen.FileNames, seen.Prevalence, seen.First, seen.Last
	}
	return f
}
