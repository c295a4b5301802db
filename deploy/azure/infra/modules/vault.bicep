// The one secret: the bridge's API key in Odoo. Everything else logs in by identity.
param location string
param tags object
param name string

@description('Object id of the identity that reads the secret.')
param readerId string

@secure()
param odooApiKey string

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
