"""Changes of rules, catalogue, levers and campaigns: proposed, checked, approved by another, activated."""
