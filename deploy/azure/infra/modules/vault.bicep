// The bridge's API key in Odoo and, if decisions go back there, ManyChat's token. Everything else logs in by identity.
param location string
param tags object
param name string

@description('Object id of the identity that reads the secrets.')
param readerId string

@secure()
param odooApiKey string

@description('Empty: nothing goes back to ManyChat.')
@secure()
param manychatApiToken string

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    enablePurgeProtection: true
    publicNetworkAccess: 'Enabled'
  }

  resource key 'secrets' = {
    name: 'odoo-api-key'
    properties: { value: odooApiKey, contentType: 'API key of the bridge in Odoo' }
  }

  resource token 'secrets' = if (!empty(manychatApiToken)) {
    name: 'manychat-api-token'
    properties: { value: manychatApiToken, contentType: 'Token of the API of ManyChat' }
  }
}

resource reader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, readerId, secretsUser)
  properties: {
    principalId: readerId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

// Without a version: after a change of the key, Container Apps take the new one.
output odooApiKeyUri string = '${vault.properties.vaultUri}secrets/${vault::key.name}'
// There only if there is a token.
output manychatApiTokenUri string = '${vault.properties.vaultUri}secrets/manychat-api-token'
