package commands

import (
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// The neighbours fit the ports without an adapter.
var (
	_ Defender     = (*defender.Client)(nil)
	_ Hunter       = (*defender.Client)(nil)
	_ Approvals    = (*approvals.Service)(nil)
	_ chat.Handler = (*Router)(nil)
)
