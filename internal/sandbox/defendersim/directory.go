package defendersim

import (
	"encoding/json"
	"net/http"
	"strings"
)

// FamilyDirectory is the directory on Graph.
const FamilyDirectory Family = "directory"

// getUser and groupMembers are Microsoft Graph on the tenant's directory, which
// the simulated Entra holds.
func getUser(w http.ResponseWriter, c call) error {
	u, ok := c.tenant.server.entra.User(c.tenant.id, strings.ToLower(c.PathValue("id")))
	if !ok {
		return &apiError{
			status: http.StatusNotFound, code: "Request_ResourceNotFound",
			message: "Resource '" + c.PathValue("id") + "' does not exist or one of its queried reference-property objects are not present.",
		}
	}
	return writeJSON(w, http.StatusOK, graphUser(u.Object, u.Disabled, u.Guest, ""))
}

func groupMembers(w http.ResponseWriter, c call) error {
	users, groups, ok := c.tenant.server.entra.TransitiveMembers(c.tenant.id, strings.ToLower(c.PathValue("id")))
	if !ok {
		return &apiError{
			status: http.StatusNotFound, code: "Request_ResourceNotFound",
			message: "Resource '" + c.PathValue("id") + "' does not exist or one of its queried reference-property objects are not present.",
		}
	}
	members := []map[string]any{}
	for _, u := range users {
		members = append(members, graphUser(u.Object, u.Disabled, u.Guest, "#microsoft.graph.user"))
	}
	for _, g := range groups {
		members = append(members, map[string]any{"@odata.type": "#microsoft.graph.group", "id": g.Object})
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#directoryObjects", "value": members,
	})
}

func graphUser(object string, disabled, guest bool, kind string) map[string]any {
	u := map[string]any{"id": object, "accountEnabled": !disabled, "userType": "Member"}
	if guest {
		u["userType"] = "Guest"
	}
	if kind != "" {
		u["@odata.type"] = kind
	}
	return u
}
